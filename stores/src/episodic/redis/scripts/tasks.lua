-- ARGV from the third on: ids. Answers for each the task, or -1 when it is not of this queue.
local answers = {}
for i = 3, #ARGV do
  local task = get(ARGV[i])
  answers[#answers + 1] = task and answer(task.id) or -1
end
return answers
