-- What a queue hands out: nothing while it is paused, and no more than its rate limit has room for.

-- Notes what is handed out now under the rate limit.
local function note_handed(count)
  if count == 0 then return end
  for _, there in ipairs(redis.call('ZRANGE', base .. 'handed', now, now, 'BYSCORE')) do
    redis.call('ZREM', base .. 'handed', there)
    count = count + tonumber(string.match(there, '%d+$'))
  end
  redis.call('ZADD', base .. 'handed', now, string.format('%.0f:%.0f', now, count))
end

-- Takes entries out of the log, and answers how many tasks they were.
local function take_handed(from, to)
  local sum = 0
  while true do
    local some = redis.call('ZRANGE', base .. 'handed', from, to, 'BYSCORE', 'LIMIT', 0, 500)
    if #some == 0 then return sum end
    for _, entry in ipairs(some) do sum = sum + tonumber(string.match(entry, '%d+$')) end
    redis.call('ZREM', base .. 'handed', unpack(some))
  end
end

-- How many of `count` tasks may be handed out now, and whether that is counted.
local function room(count)
  local v = redis.call('HMGET', base .. 'settings', 'paused', 'count', 'per')
  if v[1] == '1' then return 0, false end
  if not v[2] then return count, false end
  local gone = take_handed('-inf', now - math.ceil(tonumber(v[3]) / 1000))
  -- What a clock that jumped back has left in the future counts as handed out now.
  local ahead = take_handed('(' .. string.format('%.0f', now), '+inf')
  note_handed(ahead)
  local handed = redis.call('HINCRBY', base .. 'settings', 'handed', 0 - gone)
  return math.max(0, math.min(count, tonumber(v[2]) - handed)), true
end

-- Hands tasks to a worker, each under one of the tokens that are the arguments from the first to the last.
local function reserve(worker, ends, first, last)
  local free, counted = room(last - first + 1)
  if free == 0 then return {} end
  local popped = redis.call('ZPOPMIN', base .. 'ready', free)
  local answers, gone, leased, held = {}, {}, {}, {}
  for i = 1, #popped, 2 do
    local id = string.sub(popped[i], 4)
    local v = answer(id)
    -- A server that evicts keys may have lost it.
    if v[2] then
      local token = ARGV[first + #answers]
      v[2], v[3], v[6], v[7], v[8], v[9], v[10] = tostring(LEASED), tostring(v[3] + 1), ARGV[1], token, worker, ends, '0'
      redis.call('HSET', base .. 't:' .. id, 's', LEASED, 'a', v[3], 'u', v[6], 'l', token, 'w', worker, 'x', ends, 'p', 0)
      answers[#answers + 1] = v
      leased[#leased + 1] = ends
      leased[#leased + 1] = id
      held[#held + 1] = v[5]
      held[#held + 1] = id
    end
    gone[#gone + 1] = id
  end
  if #gone > 0 then redis.call('ZREM', base .. 's:' .. READY, unpack(gone)) end
  if #leased > 0 then
    redis.call('ZADD', base .. 'leased', unpack(leased))
    redis.call('ZADD', base .. 's:' .. LEASED, unpack(held))
  end
  if counted and #answers > 0 then
    note_handed(#answers)
    redis.call('HINCRBY', base .. 'settings', 'handed', #answers)
  end
  return answers
end
