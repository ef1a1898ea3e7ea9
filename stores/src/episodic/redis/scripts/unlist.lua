-- Takes the name of an empty queue out of the list KEYS[1], unless something was enqueued since; ARGV: the name, and the
-- time up to which the last enqueueing must lie.
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if at and tonumber(at) <= tonumber(ARGV[2]) then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
