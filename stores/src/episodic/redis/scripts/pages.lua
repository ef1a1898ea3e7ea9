-- ARGV from the third on: how many bytes of tasks to answer at the most, then for each query: persona, campaign, states
-- (a digit each), how many, 1 for the last ones instead of the first, and the two ends (time and id each, exclusive);
-- empty text for what it has not. Answers false when the clock has brought about more than one script may do: the
-- caller asks again. Otherwise for each query: the tasks (time, id, and the task itself while there is room), and
-- where the walk stopped when it was too long for one script (time and id), or false when it came to its end.
if not tick() then return false end
local room = tonumber(ARGV[3])
-- Tasks looked at by one script at the most, and taken out of a list at once.
local LOOKS, CHUNK = 5000, 128
local looks = LOOKS
local gone = {}

-- How many of a list come before a place; also that place itself when `through`.
local function rank(list, at, id, through)
  local low = redis.call('ZCOUNT', list, '-inf', '(' .. at)
  local high = low + redis.call('ZCOUNT', list, at, at)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local there = redis.call('ZRANGE', list, middle, middle)[1]
    if there < id or (through and there == id) then low = middle + 1 else high = middle end
  end
  return low
end

-- The lists that together hold all tasks wanted and as few others as possible.
local function shortest(persona, campaign, states)
  local best, least = { base .. 'all' }, redis.call('ZCARD', base .. 'all')
  local function consider(lists)
    local size = 0
    for _, list in ipairs(lists) do size = size + redis.call('ZCARD', list) end
    if size < least then best, least = lists, size end
  end
  if persona ~= '' then consider({ base .. 'p:' .. persona }) end
  if campaign ~= '' then consider({ base .. 'c:' .. campaign }) end
  if states ~= '' then
    local lists = {}
    for state in string.gmatch(states, '%d') do lists[#lists + 1] = base .. 's:' .. state end
    consider(lists)
  end
  return best
end

-- The next place of a walk, without taking it.
local function peek(walk)
  if walk.at > #walk.chunk then
    if walk.low > walk.high then return nil end
    local first, last
    if walk.backward then
      first, last = walk.low, math.min(walk.low + CHUNK - 1, walk.high)
      walk.low = last + 1
    else
      first, last = math.max(walk.high - CHUNK + 1, walk.low), walk.high
      walk.high = first - 1
    end
    local pairs_ = redis.call('ZRANGE', walk.list, first, last, 'WITHSCORES')
    walk.chunk, walk.at = {}, 1
    for i = 1, #pairs_, 2 do
      local entry = { id = pairs_[i], at = tonumber(pairs_[i + 1]) }
      if walk.backward then walk.chunk[#walk.chunk + 1] = entry else table.insert(walk.chunk, 1, entry) end
    end
  end
  return walk.chunk[walk.at]
end

local function first_of(a, b, backward)
  if a.at ~= b.at then return (a.at < b.at) == backward end
  return (a.id < b.id) == backward
end

local function fits(entry, list, persona, campaign, states)
  local v = redis.call('HMGET', base .. 't:' .. entry.id, 's', 'f', 'g', 'u', 'z')
  if not v[1] then
    -- Its memory was freed; its place follows, when nobody walks along it any more.
    gone[#gone + 1] = { list, entry.id }
    return false
  end
  return (persona == '' or v[2] == persona) and (campaign == '' or v[3] == campaign)
    and (states == '' or string.find(states, v[1], 1, true) ~= nil)
    and not (tonumber(v[1]) == COMPLETED and forgotten(tonumber(v[4]), tonumber(v[5] or 0)) <= now)
end

local function page(persona, campaign, states, limit, backward, after_at, after_id, before_at, before_id)
  local walks, found = {}, {}
  for _, list in ipairs(shortest(persona, campaign, states)) do
    local low, high = 0, redis.call('ZCARD', list) - 1
    if before_at ~= '' then low = rank(list, before_at, before_id, true) end
    if after_at ~= '' then high = rank(list, after_at, after_id, false) - 1 end
    walks[#walks + 1] = { list = list, low = low, high = high, chunk = {}, at = 1, backward = backward }
  end
  local stopped
  while #found < limit do
    local best, from
    for _, walk in ipairs(walks) do
      local entry = peek(walk)
      if entry and (not best or first_of(entry, best, backward)) then best, from = entry, walk end
    end
    if not best then
      stopped = nil
      break
    end
    from.at = from.at + 1
    looks = looks - 1
    stopped = best
    if fits(best, from.list, persona, campaign, states) then
      local task = false
      if room > 0 then
        task = answer(best.id)
        room = room - 512 - string.len(task[14] or '') - string.len(task[12] or '')
      end
      found[#found + 1] = { string.format('%.0f', best.at), best.id, task }
    end
    if looks <= 0 then break end
  end
  if #found >= limit or not stopped then return { found, false } end
  return { found, { string.format('%.0f', stopped.at), stopped.id } }
end

local answers = {}
for i = 4, #ARGV, 9 do
  local persona, campaign, states, limit, backward = unpack(ARGV, i, i + 4)
  looks = math.max(looks, 100)
  answers[#answers + 1] =
    page(persona, campaign, states, tonumber(limit), backward == '1', unpack(ARGV, i + 5, i + 8))
end
for _, place_ in ipairs(gone) do redis.call('ZREM', unpack(place_)) end
return answers
