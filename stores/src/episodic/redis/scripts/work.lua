-- Ends tries and hands out the next tasks. ARGV from the third on: worker, the lease's end, a name of this call, how many
-- tasks are wanted, a token for each, then the holds; see `ending.lua`. Answers what became of the holds, and the tasks,
-- or false in their place when the clock has brought about more than one script may do: the caller then asks for them
-- alone.
local count = tonumber(ARGV[6])
local settled = settle(ARGV[5], 7 + count, #ARGV)
return { settled, tick() and reserve(ARGV[3], ARGV[4], 7, 6 + count) }
