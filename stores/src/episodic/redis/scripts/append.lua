-- Adds turns of one persona. KEYS[1] is the beginning of the names of its keys. ARGV[1] is the oldest time that is kept,
-- ARGV[2] until when the newest of these is kept, in real milliseconds from now; then for each turn: id, time,
-- conversation, the turn as tokens, a colon and JSON.
--
--   turns        list of all, by time      c:<conversation>   list of one conversation, by time
--   said         hash: id -> the turn
local base, oldest, keep = KEYS[1], ARGV[1], tonumber(ARGV[2])
local function last(key)
  if redis.call('PTTL', key) < keep then redis.call('PEXPIRE', key, keep) end
end
while true do
  local old = redis.call('ZRANGE', base .. 'turns', '-inf', '(' .. oldest, 'BYSCORE', 'LIMIT', 0, 500)
  if #old == 0 then break end
  redis.call('HDEL', base .. 'said', unpack(old))
  redis.call('ZREM', base .. 'turns', unpack(old))
end
for i = 3, #ARGV, 4 do
  local id, at, conversation, said = unpack(ARGV, i, i + 3)
  if redis.call('HSETNX', base .. 'said', id, said) == 1 then
    local list = base .. 'c:' .. conversation
    redis.call('ZADD', base .. 'turns', at, id)
    redis.call('ZREMRANGEBYSCORE', list, '-inf', '(' .. oldest)
    redis.call('ZADD', list, at, id)
    last(list)
  end
end
last(base .. 'turns')
last(base .. 'said')
return redis.status_reply('OK')
