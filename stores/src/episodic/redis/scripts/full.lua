#!lua flags=allow-oom
-- Runs on a server whose memory is full as well: tasks that are worked off are what makes room there, and a worker that
-- could not prolong its lease would lose its work.
