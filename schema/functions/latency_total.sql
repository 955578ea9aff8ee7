-- latency_total: the aggregate of latency_sum over many histograms of latency classes.
create or replace aggregate kaixu.latency_total(bigint[]) (
    sfunc = kaixu.latency_sum,
    stype = bigint[],
    initcond = '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}'
);
