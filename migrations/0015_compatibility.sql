-- Which programs may use this schema. An upgrade goes in two steps: a migration that only adds (expand) leaves the number as it
-- is, so that old and new instances run side by side; one that takes away what older programs use (contract) raises it to the
-- last migration that a program must know, and programs from before are refused.
--
-- Where somebody dropped the other schemas to begin anew, this may still be there.
drop table if exists public.recarga_schema;
create table public.recarga_schema (
    one boolean primary key default true check (one),
    oldest_program bigint not null check (oldest_program > 0)
);
insert into public.recarga_schema (oldest_program) values (14);
