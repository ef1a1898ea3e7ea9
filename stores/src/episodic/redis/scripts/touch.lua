-- Prolongs a session: KEYS[1] is its key; ARGV: now, its new end, and real milliseconds for which its memory is kept.
-- Answers what it holds, or false when there is none or it has ended.
local held = redis.call('GET', KEYS[1])
local ends = held and tonumber(string.match(held, '^-?%d+'))
if not ends or ends <= tonumber(ARGV[1]) then return false end
local data = string.sub(held, string.find(held, ':', 1, true) + 1)
redis.call('SET', KEYS[1], ARGV[2] .. ':' .. data, 'PX', ARGV[3])
return data
