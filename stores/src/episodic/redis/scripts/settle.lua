-- ARGV from the third on: a name of this call, then the holds; see `ending.lua`.
return settle(ARGV[3], 4, #ARGV)
