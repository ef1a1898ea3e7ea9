-- ARGV from the third on: worker, the lease's end, and a token for each task that is wanted. Answers the tasks, or
-- false when the clock has brought about more than one script may do: the caller asks again.
if not tick() then return false end
local worker, ends = ARGV[3], ARGV[4]
local popped = redis.call('ZPOPMIN', base .. 'ready', #ARGV - 4)
local answers, gone, leased, held = {}, {}, {}, {}
for i = 1, #popped, 2 do
  local id = string.sub(popped[i], 4)
  local v = answer(id)
  -- A server that evicts keys may have lost it.
  if v[2] then
    local token = ARGV[5 + #answers]
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
return answers
