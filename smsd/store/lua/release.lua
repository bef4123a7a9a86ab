-- release: undo our own mark; the entry stays claimed and unharmed.
local name, mark = take(), take()
if redis.call('HGET', INFLIGHT, name) == mark then redis.call('HDEL', INFLIGHT, name) end
return 'released'
