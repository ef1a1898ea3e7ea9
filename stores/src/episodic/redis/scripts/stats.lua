-- Answers how many tasks there are of each state, since when the oldest ready one is ready, the settings, and how tries
-- ended by the minute; or false when the clock
-- has brought about more than one script may do: the caller asks again.
if not tick() then return false end
local counts = {}
for state = SCHEDULED, DEAD do counts[state + 1] = redis.call('ZCARD', base .. 's:' .. state) end
-- Those that are due to be forgotten and have not been yet.
counts[COMPLETED + 1] = counts[COMPLETED + 1] - redis.call('ZCOUNT', base .. 'completed', '-inf', now)
local oldest
local from = 0
while true do
  local first = redis.call('ZRANGE', base .. 'ready', from, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  if not first[1] then break end
  -- The first of each priority is its oldest.
  local priority = math.floor(tonumber(first[2]) / PRIORITY)
  local at = (tonumber(first[2]) - priority * PRIORITY) * 1000 + tonumber(string.sub(first[1], 1, 3))
  if not oldest or at < oldest then oldest = at end
  from = (priority + 1) * PRIORITY
end
counts[6] = oldest and string.format('%.0f', oldest) or false
counts[7] = redis.call('HMGET', base .. 'settings', 'paused', 'count', 'per')
counts[8] = redis.call('HGETALL', base .. 'minutes')
return counts
