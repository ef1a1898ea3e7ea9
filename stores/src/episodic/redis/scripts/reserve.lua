-- ARGV from the third on: worker, the lease's end, and a token for each task that is wanted. Answers the tasks, or
-- false when the clock has brought about more than one script may do: the caller asks again.
if not tick() then return false end
return reserve(ARGV[3], ARGV[4], 5, #ARGV)
