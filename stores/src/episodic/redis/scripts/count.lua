-- A sliding window counter. KEYS[1] is its key; ARGV: now, the length of a window (both in milliseconds), the cost, the
-- limit, and how long its memory is kept beyond its end. It holds the number of the running window, what was counted in
-- it, and what in the one before. Answers whether there was room, what is used, and when nothing will be.
local now, length, cost, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local window = math.floor(now / length)
local held = redis.call('GET', KEYS[1])
local running, before = 0, 0
if held then
  local was
  was, running, before = string.match(held, '^(-?%d+) (%d+) (%d+)$')
  was, running, before = tonumber(was), tonumber(running), tonumber(before)
  if window - was == 1 then
    running, before = 0, running
  elseif window - was > 1 then
    running, before = 0, 0
  end
end
local left = length - (now - window * length)
local used = running + math.floor((before * left + length - 1) / length)
local allowed = used + cost <= limit
if not allowed then cost = 0 end
running = running + cost
local ends = now
if running > 0 or before > 0 then
  ends = (window + (running > 0 and 2 or 1)) * length
  held = string.format('%.0f %.0f %.0f', window, running, before)
  redis.call('SET', KEYS[1], held, 'PX', math.floor(2 * length + tonumber(ARGV[5])))
elseif held then
  redis.call('DEL', KEYS[1])
end
return { allowed and 1 or 0, used + cost, string.format('%.0f', ends) }
