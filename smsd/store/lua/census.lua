-- census: every number that the conservation of messages rests on, read in one instant.
-- include: fields
-- takes: none
-- keys: none
-- answers: {name, value, ...}
-- changes: none
--
-- What is no number, since other hands were there, counts as 0.

local function number(...)
  local found = redis.pcall(...)
  return type(found) == 'number' and found or 0
end

local function added(stream)
  if number('XLEN', stream) == 0 and number('EXISTS', stream) == 0 then return 0 end
  local info = redis.pcall('XINFO', 'STREAM', stream)
  return field_of(info, 'entries-added') or 0
end

local function run()
  local census = {
    'added', added(QUEUE) + added(HIGH),
    'queued', number('XLEN', QUEUE) + number('XLEN', HIGH),
    'deferred', number('ZCARD', DEFERRED),
    'inflight', number('HLEN', INFLIGHT),
    'dead', number('XLEN', DEAD),
  }
  return append_all(census, redis.pcall('HGETALL', COUNTERS))
end
