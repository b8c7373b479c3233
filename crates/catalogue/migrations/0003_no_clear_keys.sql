DROP TABLE streams_in_the_clear;

INSERT INTO settings (name, value) VALUES ('oldest_reader', '3');
