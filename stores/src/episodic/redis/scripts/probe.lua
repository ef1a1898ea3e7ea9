-- Whether this place can be written and read: KEYS[1] is a key of no other use, ARGV[1] what to write.
redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)
return redis.call('GET', KEYS[1])
