-- Gives the id of a task to another queue: KEYS[1] says which one has it; ARGV: the one it must be, the new one.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
