-- fsck_marks: in-flight records whose entry is gone, and those that `begin` cannot have made.
-- include: damage, entries, full, unknown_attempt
-- takes: names, repair
-- keys: none
-- answers: {{name, 'stray' | 'unreadable'}, ...}
-- changes: inflight
--
-- Mended: removed; or, where there is an entry, marked as begun at a time that nobody knows (0), so that recovery
-- finds it in doubt. (Recovery asks for that by itself, too.)

local function is_readable(mark)
  local number, started = string.match(mark, '^([1-9]%d*) (%d+) [ -~]+$')
  return number and #number <= 10 and #started <= 13 and not string.find(started, '^0.')
end

local function look(name, repair)
  local stream = stream_of(name)
  if wrong_type(stream, KIND[stream]) then return nil end -- nobody can tell whether there is an entry
  local mark, fields = redis.call('HGET', INFLIGHT, name), entry_of(stream_of(name))
  if not mark or (fields and is_readable(mark)) then return nil end
  if repair and fields then
    redis.call('HSET', INFLIGHT, name, unknown_attempt(fields))
  elseif repair then
    redis.call('HDEL', INFLIGHT, name)
  end
  return {name, fields and 'unreadable' or 'stray'}
end

local function run(request)
  local faults = {}
  need(INFLIGHT)
  if request.repair then allow_writes_while_full() end
  for _, name in ipairs(request.names) do faults[#faults + 1] = look(name, request.repair) end
  return faults
end
