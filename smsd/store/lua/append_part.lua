-- append_part: queue one part of a long list, all or none.
-- include: damage, enqueue, full, identity
-- takes: list, part, again?
-- keys: staged, status*
-- answers: its ids, joined by commas
-- changes: queue, high, deferred, deferred_messages, status, staged, events, counters
--
-- The answer is '' where nothing is left of it, and where newer data was known (perhaps it was queued there, and sent),
-- but for one that is to be queued `again`. A status comes for each message that is scheduled.

local function run(request, keys)
  local staged, name = table.remove(keys, 1), request.list .. ':' .. request.part
  need_hash(staged)
  local done = redis.call('HGET', staged, name .. ':ids')
  if done then return done end
  local packed = redis.call('HGET', staged, name)
  if not packed or is_older() and not request.again then return '' end
  local part = cjson.decode(packed)
  -- A list that was kept by the version before has other names.
  part.stream, part.look_up = part.stream or part['lane'], part.look_up or part['facts']
  need_places(part)
  allow_writes_while_full() -- it has been promised: it is queued though Redis is full by now
  local ids = enqueue(part, keys)
  redis.call('HSET', staged, name .. ':ids', ids)
  redis.call('HDEL', staged, name)
  local left = redis.pcall('HINCRBY', staged, 'waiting', -#part.recipients)
  if type(left) ~= 'number' or left <= 0 then redis.call('HDEL', staged, 'waiting') end
  return ids
end
