-- append_end: forget a long list of which every part is queued.
-- include: damage, full
-- takes: list, parts
-- keys: staged, idempotency?
-- answers: done | unfinished
-- changes: staged, idempotency

local function run(request, keys)
  local staged, key, names = keys[1], keys[2], {}
  need_hash(staged)
  for i = 1, request.parts do names[i] = request.list .. ':' .. i .. ':ids' end
  local found = redis.call('HMGET', staged, unpack(names))
  for i = 1, request.parts do
    if not found[i] then return 'unfinished' end
  end
  local ids = table.concat(found, ',')
  allow_writes_while_full()
  if key and redis.pcall('HGET', key, 'list') == request.list then redis.pcall('HSET', key, 'ids', ids) end
  redis.call('HDEL', staged, request.list, unpack(names))
  return 'done'
end
