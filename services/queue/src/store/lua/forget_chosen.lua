-- ARGV from 3: positions. Ends these dead letters. Gives how many of them were there.
return { class, redis.call('XDEL', DEAD, unpack(ARGV, 3)) }
