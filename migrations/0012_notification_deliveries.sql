-- By which channel a notification goes out, and every attempt of those that leave the system.

alter table notification.notifications
    add column channel    text not null default 'log' check (channel in ('log', 'webhook', 'smtp')),
    add column last_error text,
    -- The message that sees a pending notification through, and when it was last heard of: a second message about the same
    -- event waits, and takes over only when the first is gone for good.
    add column message_id text,
    add column touched_at timestamptz;

create table notification.deliveries (
    event_id   uuid not null references notification.notifications (event_id) on delete cascade,
    attempt    integer not null check (attempt > 0),
    channel    text not null,
    outcome    text not null check (outcome in ('sent', 'retry', 'failed')),
    detail     text,
    took_ms    integer not null check (took_ms >= 0),
    created_at timestamptz not null default clock_timestamp(),
    primary key (event_id, attempt),
    -- What did not go out says why.
    check ((outcome = 'sent') = (detail is null))
);
