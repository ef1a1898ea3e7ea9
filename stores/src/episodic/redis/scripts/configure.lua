-- Changes the settings of a queue. ARGV from the third on: whether it is paused (0, 1), the count and the span of its rate
-- limit; empty text for what stays as it is, and the count 0 for no limit. Answers all three as they are now.
local settings = base .. 'settings'
if ARGV[3] == '1' then redis.call('HSET', settings, 'paused', 1) end
if ARGV[3] == '0' then redis.call('HDEL', settings, 'paused') end
if ARGV[4] == '0' then
  redis.call('HDEL', settings, 'count', 'per', 'handed')
  redis.call('DEL', base .. 'handed')
elseif ARGV[4] ~= '' then
  redis.call('HSET', settings, 'count', ARGV[4], 'per', ARGV[5])
end
return redis.call('HMGET', settings, 'paused', 'count', 'per')
