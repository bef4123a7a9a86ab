-- drop: throw a dead letter away for good.
local letter = take()
local fields = entry_of(DEAD, letter)
if not fields then return 'gone' end
redis.call('XDEL', DEAD, letter)
redis.call('HINCRBY', COUNTERS, 'dropped', 1)
redis.call('HDEL', STATUS, 'letter')
tell(STATUS, field_of(fields, 'id') or '', 'dropped', NOW .. ' dropped')
redis.call('PEXPIRE', STATUS, KEEP_STATUS)
return 'done'
