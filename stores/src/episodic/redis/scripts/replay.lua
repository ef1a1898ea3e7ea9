-- ARGV from the third on: ids. Answers for each the task, 0 when it is not dead, 1 when another one has its dedupe key,
-- or -1 when it is not of this queue.
local answers = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local task = get(id)
  local holder = task and task.d and owner(task.d)
  local result = -1
  if task and task.s ~= DEAD then
    result = 0
  elseif holder and holder.id ~= id then
    result = 1
  elseif task then
    task.u, task.r = now, now
    step(task, READY, 'a', 0, 'r', now, 'p', 0)
    if task.d then
      redis.call('HSET', base .. 'keys', task.d, id)
      redis.call('ZREM', base .. 'windows', task.d)
    end
    result = answer(id)
  end
  answers[#answers + 1] = result
end
return answers
