-- The checks add up every movement of every card. With the default memory the sums of a large city spill to disk or walk an
-- index in random order; with this they are one pass each. Only these calls are given it.

alter function travel.ledger_sum() set work_mem = '64MB';
alter function travel.card_discrepancies() set work_mem = '64MB';
alter function travel.ledger_discrepancies() set work_mem = '64MB';
