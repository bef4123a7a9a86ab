-- census: every number that the conservation of texts rests on, read in one instant.
-- Returns a flat list of name, value.
local function added(stream)
  if redis.call('EXISTS', stream) == 0 then return 0 end
  return field_of(redis.call('XINFO', 'STREAM', stream), 'entries-added') or 0
end

local function run()
  local census = {
    'added', added(QUEUE) + added(HIGH),
    'queued', redis.call('XLEN', QUEUE) + redis.call('XLEN', HIGH),
    'deferred', redis.call('ZCARD', DEFERRED),
    'inflight', redis.call('HLEN', INFLIGHT),
    'dead', redis.call('XLEN', DEAD),
  }
  return append_all(census, redis.call('HGETALL', COUNTERS))
end
