-- How tries end. For each hold: id, token, what became of it (c complete with a result, n complete without one, f failed,
-- d failed for good), the result or error, and the jitter of the back-off. `name` is that of the call: a driver that lost
-- the connection may send the same call twice; the second time finds its own name, and answers what the first one did.

-- Counts what ended in this minute, and forgets minutes that nobody asks for any more.
local function measure(kind, count)
  if count == 0 then return end
  local minute, minutes = math.floor(now / 60000000), base .. 'minutes'
  if redis.call('HINCRBY', minutes, string.format('%.0f', minute) .. ':' .. kind, count) == count then
    for _, field in ipairs(redis.call('HKEYS', minutes)) do
      if tonumber(string.match(field, '^-?%d+')) < minute - 60 then redis.call('HDEL', minutes, field) end
    end
  end
  redis.call('PEXPIRE', minutes, GARBAGE)
end

-- Answers for each hold the task, 0 when it is not held under the token, or -1 when it is not of this queue.
local function settle(name, first, last)
  local answers, completed, failed = {}, 0, 0
  for i = first, last, 5 do
    local id, token, kind, text, jitter = unpack(ARGV, i, i + 4)
    local hash, call = base .. 't:' .. id, name .. ':' .. (i - first)
    local task = get(id)
    local result = -1
    if task then
      result = 0
      if task.s == LEASED and task.l == token then
        unlease(task)
        task.u = now
        redis.call('HSET', hash, 'n', call)
        if kind == 'c' or kind == 'n' then
          if kind == 'c' then redis.call('HSET', hash, 'o', text) end
          step(task, COMPLETED, 'p', 1)
          close(task)
          local kept = math.floor(math.max(KEEP, task.z - now) / 1000) + GARBAGE
          redis.call('PEXPIRE', hash, kept)
          redis.call('PEXPIRE', base .. 'b:' .. id, kept)
          completed = completed + 1
        elseif kind == 'f' and task.a < task.m then
          local seconds = math.min(2 ^ (task.a - 1), 3600)
          task.r = now + math.floor(seconds * 1000000 * tonumber(jitter))
          step(task, SCHEDULED, 'e', text, 'r', task.r)
          failed = failed + 1
        else
          step(task, DEAD, 'e', text)
          close(task)
          failed = failed + 1
        end
        result = answer(id)
      elseif redis.call('HGET', hash, 'n') == call then
        result = answer(id)
      end
    end
    answers[#answers + 1] = result
  end
  measure('c', completed)
  measure('f', failed)
  return answers
end
