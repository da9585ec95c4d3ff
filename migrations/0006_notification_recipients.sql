-- One recipient's newest notifications.
create index notifications_recipient on notification.notifications (recipient, id desc);
