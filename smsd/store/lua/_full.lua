-- _full: after a first write that Redis allows while it is full, it allows the rest of a script.
local function allow_writes_while_full() redis.pcall('HDEL', INFLIGHT, '') end
