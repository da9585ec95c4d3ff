-- How far a task's present attempt is, from 0 to 1.
alter table worker.tasks add column progress real not null default 0;
update worker.tasks set progress = 1 where state = 'completed';
alter table worker.tasks add constraint tasks_progress check (progress between 0 and 1);
