-- What every script of a queue begins with. KEYS[1] is the beginning of the names of all keys of one queue, so all of
-- them lie in one slot. ARGV[1] is the time now, ARGV[2] the time up to which completed tasks are forgotten; all times
-- are microseconds, and the caller's clock is the only one.
--
--   t:<id>       hash: s state, a attempts, m most attempts, y priority, r run at, c created, u updated, p progress,
--                l lease's token, w its worker, x its end, e last error, o result, d dedupe key, f persona, g campaign,
--                z until when its key is taken in any case, n the call that settled it last
--   b:<id>       the rest of the task, as JSON
--   ready        what can be reserved, in its order
--   delayed, leased, completed   by the time at which the clock moves them
--   all, s:<state>, p:<persona>, c:<campaign>   lists by creation
--   keys         hash: dedupe key -> the task that has it: an open one, or one whose window has not ended
--   windows      keys of tasks that are done, by the end of their windows
--   settings     hash: paused, count and per (nanoseconds) of the rate limit, handed: what it counts now
--   handed       what was handed out under the rate limit, by time: the time, a colon and how many
--   minutes      hash: how tries ended, by minute: <minute>:c completed, <minute>:f failed
--
-- A step that time has brought about is taken when somebody looks, and never undone.
local base, now, KEEP = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local SCHEDULED, READY, LEASED, COMPLETED, DEAD = 0, 1, 2, 3, 4
-- Room for the milliseconds until the year 2527 beneath the priority: 201 times this is still a whole number.
local PRIORITY = 17592186044416
-- Steps of time that one script takes at the most, so that none holds the server up.
local STEPS, FORGETS = 500, 100
-- Real milliseconds for which the memory of what is over is kept though nobody looks: a day.
local GARBAGE = 86400000
local FIELDS = { 's', 'a', 'r', 'c', 'u', 'l', 'w', 'x', 'p', 'e', 'o', 'z' }

local function load(id)
  local v = redis.call('HMGET', base .. 't:' .. id, 's', 'a', 'm', 'y', 'r', 'c', 'u', 'l', 'w', 'x', 'd', 'z')
  if not v[1] then return nil end
  return {
    id = id, s = tonumber(v[1]), a = tonumber(v[2]), m = tonumber(v[3]), y = tonumber(v[4]), r = tonumber(v[5]),
    c = v[6], u = tonumber(v[7]), l = v[8], w = v[9], x = tonumber(v[10] or 0), d = v[11],
    z = tonumber(v[12] or 0),
  }
end

-- When a completed task is forgotten.
local function forgotten(updated, window)
  return math.max(updated + KEEP, window)
end

-- Highest priority first, then the longest waiting to the microsecond, then the id.
local function place(task)
  local ms = math.floor(task.r / 1000)
  local rest = task.r - ms * 1000
  return (100 - task.y) * PRIORITY + math.max(0, math.min(ms, PRIORITY - 1)), string.format('%03d', rest) .. task.id
end

local function out(task)
  redis.call('ZREM', base .. 's:' .. task.s, task.id)
  if task.s == READY then
    local _, member = place(task)
    redis.call('ZREM', base .. 'ready', member)
  elseif task.s == SCHEDULED then
    redis.call('ZREM', base .. 'delayed', task.id)
  elseif task.s == LEASED then
    redis.call('ZREM', base .. 'leased', task.id)
  elseif task.s == COMPLETED then
    redis.call('ZREM', base .. 'completed', task.id)
  end
end

local function into(task)
  redis.call('ZADD', base .. 's:' .. task.s, task.c, task.id)
  if task.s == READY then
    redis.call('ZADD', base .. 'ready', place(task))
  elseif task.s == SCHEDULED then
    redis.call('ZADD', base .. 'delayed', task.r, task.id)
  elseif task.s == LEASED then
    redis.call('ZADD', base .. 'leased', task.x, task.id)
  elseif task.s == COMPLETED then
    redis.call('ZADD', base .. 'completed', forgotten(task.u, task.z), task.id)
  end
end

-- Writes the task's state and the fields given, in all places.
local function step(task, state, ...)
  out(task)
  task.s = state
  redis.call('HSET', base .. 't:' .. task.id, 's', state, 'u', task.u, ...)
  into(task)
end

local function unlease(task)
  redis.call('HDEL', base .. 't:' .. task.id, 'l', 'w', 'x')
  task.l, task.w = false, false
end

local function release(key)
  redis.call('HDEL', base .. 'keys', key)
  redis.call('ZREM', base .. 'windows', key)
end

-- The task is done or dead: its dedupe key is free, unless its window goes on.
local function close(task)
  if not task.d then return end
  if task.z > now then redis.call('ZADD', base .. 'windows', task.z, task.d) else release(task.d) end
end

local function forget(task)
  local v = redis.call('HMGET', base .. 't:' .. task.id, 'f', 'g')
  out(task)
  redis.call('ZREM', base .. 'all', task.id)
  if v[1] then redis.call('ZREM', base .. 'p:' .. v[1], task.id) end
  if v[2] then redis.call('ZREM', base .. 'c:' .. v[2], task.id) end
  if task.d and redis.call('HGET', base .. 'keys', task.d) == task.id then release(task.d) end
  redis.call('DEL', base .. 't:' .. task.id, base .. 'b:' .. task.id)
end

-- Does what the clock has brought about for one task; nil when that is its end.
local function advance(task)
  if task.s == SCHEDULED and task.r <= now then
    step(task, READY)
  elseif task.s == LEASED and task.x <= now then
    local worker, ended = task.w, task.x
    unlease(task)
    task.u = ended
    if task.a < task.m then
      task.r = ended
      step(task, READY, 'r', ended)
    else
      step(task, DEAD, 'e', 'the lease of ' .. worker .. ' ended before the task did')
      close(task)
    end
  elseif task.s == COMPLETED and forgotten(task.u, task.z) <= now then
    forget(task)
    return nil
  end
  return task
end

local function get(id)
  local task = load(id)
  return task and advance(task)
end

-- The task that has a dedupe key.
local function owner(key)
  local id = redis.call('HGET', base .. 'keys', key)
  local task = id and get(id)
  if task and (task.s < COMPLETED or task.z > now) then return task end
  if id then release(key) end
  return nil
end

local function due(key, state, room)
  local ids = redis.call('ZRANGE', base .. key, '-inf', now, 'BYSCORE', 'LIMIT', 0, room)
  for _, id in ipairs(ids) do
    local task = load(id)
    -- A task whose memory was freed, or that was made anew since, has no place here any more.
    if task and task.s == state then advance(task) else redis.call('ZREM', base .. key, id) end
  end
  return #ids
end

-- Does what the clock has brought about for the queue; false when there is more of it than one script may do.
local function tick()
  due('completed', COMPLETED, FORGETS)
  local done = due('delayed', SCHEDULED, STEPS)
  if done < STEPS then done = done + due('leased', LEASED, STEPS - done) end
  -- Last: a lease that ended a moment ago may have made a task dead whose window is over as well.
  for _, key in ipairs(redis.call('ZRANGE', base .. 'windows', '-inf', now, 'BYSCORE', 'LIMIT', 0, FORGETS)) do
    release(key)
  end
  return done < STEPS
end

-- The task as the caller reads it.
local function answer(id)
  local v = redis.call('HMGET', base .. 't:' .. id, unpack(FIELDS))
  v[#FIELDS + 1] = redis.call('GET', base .. 'b:' .. id)
  table.insert(v, 1, id)
  return v
end
