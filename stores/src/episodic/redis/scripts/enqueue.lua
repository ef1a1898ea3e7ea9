-- ARGV from the third on, for each task: id, priority, state, run at, most attempts, dedupe key, the end of its window,
-- persona, campaign, body; empty text for what it has not. Answers 1 for a task that is new, or the one that was there
-- before.
local answers = {}
for i = 3, #ARGV, 10 do
  local id, priority, state, run_at, most, key, window, persona, campaign, body = unpack(ARGV, i, i + 9)
  local before = get(id)
  if not before and key ~= '' then before = owner(key) end
  if before then
    answers[#answers + 1] = answer(before.id)
  else
    local task = { id = id, s = tonumber(state), y = tonumber(priority), r = tonumber(run_at), c = ARGV[1] }
    local fields = { 's', state, 'a', 0, 'm', most, 'y', priority, 'r', run_at, 'c', now, 'u', now, 'p', 0 }
    local function note(field, value)
      fields[#fields + 1] = field
      fields[#fields + 1] = value
    end
    redis.call('ZADD', base .. 'all', now, id)
    if key ~= '' then
      note('d', key)
      redis.call('HSET', base .. 'keys', key, id)
      if window ~= '' then note('z', window) end
    end
    if persona ~= '' then
      note('f', persona)
      redis.call('ZADD', base .. 'p:' .. persona, now, id)
    end
    if campaign ~= '' then
      note('g', campaign)
      redis.call('ZADD', base .. 'c:' .. campaign, now, id)
    end
    redis.call('HSET', base .. 't:' .. id, unpack(fields))
    redis.call('SET', base .. 'b:' .. id, body)
    into(task)
    answers[#answers + 1] = 1
  end
end
return answers
