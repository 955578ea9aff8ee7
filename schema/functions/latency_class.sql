-- latency_class: the class of a call's duration in the histograms of the roll-ups.
--
-- Class k holds calls of at most 10 ms * 2^(k/2), k = 0..31; the last one holds everything above. The list has the first
-- duration of each class from 1 on, in milliseconds.
create or replace function kaixu.latency_class(p_ms integer)
returns smallint
language sql immutable parallel safe as $$
    select width_bucket(p_ms, '{11, 15, 21, 29, 41, 57, 81, 114, 161, 227, 321, 453, 641, 906, 1281, 1811, 2561, 3621,
                                5121, 7241, 10241, 14482, 20481, 28964, 40961, 57927, 81921, 115853, 163841, 231705,
                                327681}'::integer[])::smallint
$$;
