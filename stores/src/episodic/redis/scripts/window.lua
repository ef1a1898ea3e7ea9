-- The newest turns of one list that fit all bounds, newest first. KEYS[1] is the beginning of the names of the
-- persona's keys; ARGV: the list, the oldest time, how many turns, how many tokens or empty text.
local base, list, oldest = KEYS[1], KEYS[1] .. ARGV[1], ARGV[2]
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local window, offset = {}, 0
while #window < most do
  local ids = redis.call('ZRANGE', list, '+inf', oldest, 'BYSCORE', 'REV', 'LIMIT', offset, math.min(most - #window, 200))
  if #ids == 0 then return window end
  offset = offset + #ids
  for _, said in ipairs(redis.call('HMGET', base .. 'said', unpack(ids))) do
    if said then
      if room then
        room = room - tonumber(string.match(said, '^%d+'))
        if room < 0 then return window end
      end
      window[#window + 1] = said
    end
  end
end
return window
