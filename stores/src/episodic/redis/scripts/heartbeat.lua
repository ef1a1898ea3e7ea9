-- ARGV from the third on: the lease's new end, then for each hold: id, token, progress or empty text. Answers for each
-- the task, 0 when it is not held under the token, or -1 when it is not of this queue.
local answers, ends = {}, ARGV[3]
for i = 4, #ARGV, 3 do
  local id, token, progress = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local task = get(id)
  local result = -1
  if task then
    result = 0
    if task.s == LEASED and task.l == token then
      redis.call('HSET', base .. 't:' .. id, 'x', ends, 'u', now)
      if progress ~= '' then redis.call('HSET', base .. 't:' .. id, 'p', progress) end
      redis.call('ZADD', base .. 'leased', ends, id)
      result = answer(id)
    end
  end
  answers[#answers + 1] = result
end
return answers
