-- What a stream says of pages (sites that may use it, who may show its player, its chat), and what is written in chats. Only adds: the
-- version before leaves these columns as they are, and its rows of the metadata log lack them.
ALTER TABLE streams ADD COLUMN origins TEXT NOT NULL DEFAULT '';                -- separated by spaces
ALTER TABLE streams ADD COLUMN embed TEXT NOT NULL DEFAULT 'listed';            -- listed, anywhere or nowhere
ALTER TABLE streams ADD COLUMN chat_on BIGINT NOT NULL DEFAULT 0;               -- 1: there is a chat
ALTER TABLE streams ADD COLUMN chat_slow_s BIGINT NOT NULL DEFAULT 0;           -- seconds between two messages of one writer
ALTER TABLE streams ADD COLUMN chat_writers TEXT NOT NULL DEFAULT 'everybody';  -- everybody or token

-- The newest messages of each stream, for a day at most.
CREATE TABLE chat_messages (
    id         TEXT   NOT NULL PRIMARY KEY,
    stream     TEXT   NOT NULL, -- name
    changed    BIGINT NOT NULL, -- place of the last change among those of the stream; rises
    author     TEXT   NOT NULL,
    role       TEXT   NOT NULL, -- guest, viewer or moderator
    writer     TEXT   NOT NULL, -- what bans name: never an address or a token
    text       TEXT   NOT NULL, -- empty once it is deleted
    state      TEXT   NOT NULL, -- shown or deleted
    created_at BIGINT NOT NULL
);
CREATE INDEX chat_messages_by_change ON chat_messages (stream, changed);
CREATE INDEX chat_messages_by_writer ON chat_messages (stream, writer, created_at);

CREATE TABLE chat_bans (
    id         TEXT   NOT NULL PRIMARY KEY,
    stream     TEXT   NOT NULL,
    writer     TEXT   NOT NULL,
    author     TEXT   NOT NULL, -- the name that the writer had
    created_at BIGINT NOT NULL,
    until      BIGINT NOT NULL  -- rows are forgotten then
);
CREATE INDEX chat_bans_by_writer ON chat_bans (stream, writer);
