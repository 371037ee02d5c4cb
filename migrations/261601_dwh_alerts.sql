-- What alerts have told: each thing once, also where several machines look.
--
-- Plain SQL, as 261001 explains; after 261401. May be applied again.

create table if not exists "dwh_control".alerts_sent (
    alert text not null,
    project text not null,
    check_name text not null,
    subject text not null,
    message text not null,
    since timestamptz not null,
    seen_at timestamptz not null,
    sent_at timestamptz,
    over_at timestamptz,
    claim text,
    claimed_at timestamptz,
    primary key (alert, project, check_name, subject),
    constraint alerts_sent_claimed check ((claim is null) = (claimed_at is null))
);
comment on table "dwh_control".alerts_sent is 'What `dwh alert` has sent, a row a thing; `dwh maintain` removes old rows';
comment on column "dwh_control".alerts_sent.alert is 'Name of the [[alert]] in dwh.toml';
comment on column "dwh_control".alerts_sent.project is 'Name of the project';
comment on column "dwh_control".alerts_sent.check_name is 'What is wrong, the word of `dwh status`';
comment on column "dwh_control".alerts_sent.subject is 'The table; or the machine, of what it alone sees: disks and the blob store';
comment on column "dwh_control".alerts_sent.message is 'One line, as it was told last';
comment on column "dwh_control".alerts_sent.since is 'When it was seen first';
comment on column "dwh_control".alerts_sent.seen_at is 'The newest look at it; an older one changes nothing';
comment on column "dwh_control".alerts_sent.sent_at is 'When it was sent last; null: not yet';
comment on column "dwh_control".alerts_sent.over_at is 'When it was seen to be over; null: it goes on';
comment on column "dwh_control".alerts_sent.claim is 'Who sends it at this moment; after 5 minutes somebody else may';
comment on column "dwh_control".alerts_sent.claimed_at is 'Since when';

alter table "dwh_control".alerts_sent owner to "dwh_owner";
grant select on "dwh_control".alerts_sent to "grafana_ro";
