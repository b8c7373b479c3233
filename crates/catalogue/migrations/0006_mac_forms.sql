-- `key_mac` has two forms: bare, under control's pepper, for keys of before; and 'v2:' with a MAC under a key of the stream's own, which
-- the pepper leads to (messages::Pepper::mac_key). Versions that know the first form only must not use the table.
UPDATE settings SET value = '6' WHERE name = 'oldest_reader';
