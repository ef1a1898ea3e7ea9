-- ARGV from the third on: a name of this call, then for each hold: id, token, what became of it (c complete with a
-- result, n complete without one, f failed, d failed for good), the result or error, and the jitter of the back-off.
-- Answers for each the task, 0 when it is not held under the token, or -1 when it is not of this queue.
--
-- A driver that lost the connection may send the same call twice: the second time finds its own name, and answers what
-- the first one did.
local answers = {}
for i = 4, #ARGV, 5 do
  local id, token, kind, text, jitter = unpack(ARGV, i, i + 4)
  local hash, call = base .. 't:' .. id, ARGV[3] .. ':' .. i
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
        redis.call('PEXPIRE', hash, GARBAGE)
        redis.call('PEXPIRE', base .. 'b:' .. id, GARBAGE)
      elseif kind == 'f' and task.a < task.m then
        local seconds = math.min(2 ^ (task.a - 1), 3600)
        task.r = now + math.floor(seconds * 1000000 * tonumber(jitter))
        step(task, SCHEDULED, 'e', text, 'r', task.r)
      else
        step(task, DEAD, 'e', text)
        close(task)
      end
      result = answer(id)
    elseif redis.call('HGET', hash, 'n') == call then
      result = answer(id)
    end
  end
  answers[#answers + 1] = result
end
return answers
