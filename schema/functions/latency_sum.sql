-- latency_sum: the sum of two histograms of latency classes.
--
-- Written out, so that it costs no query: it is evaluated for every row that is folded.
create or replace function kaixu.latency_sum(p_one bigint[], p_other bigint[])
returns bigint[]
language sql immutable parallel safe as $$
    select array[
        p_one[1] + p_other[1], p_one[2] + p_other[2], p_one[3] + p_other[3], p_one[4] + p_other[4],
        p_one[5] + p_other[5], p_one[6] + p_other[6], p_one[7] + p_other[7], p_one[8] + p_other[8],
        p_one[9] + p_other[9], p_one[10] + p_other[10], p_one[11] + p_other[11], p_one[12] + p_other[12],
        p_one[13] + p_other[13], p_one[14] + p_other[14], p_one[15] + p_other[15], p_one[16] + p_other[16],
        p_one[17] + p_other[17], p_one[18] + p_other[18], p_one[19] + p_other[19], p_one[20] + p_other[20],
        p_one[21] + p_other[21], p_one[22] + p_other[22], p_one[23] + p_other[23], p_one[24] + p_other[24],
        p_one[25] + p_other[25], p_one[26] + p_other[26], p_one[27] + p_other[27], p_one[28] + p_other[28],
        p_one[29] + p_other[29], p_one[30] + p_other[30], p_one[31] + p_other[31], p_one[32] + p_other[32]
    ]
$$;
