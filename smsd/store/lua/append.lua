-- append: queue the messages of one request, all or none, with its idempotency record.
-- include: damage, enqueue, fields
-- takes: group, place, stream, most_waiting, fields, recipients, many, due?, scheduled?, look_up?, list?, head?, parts?,
--   fingerprint?, answer?, key_ttl?
-- keys: status*, staged?, idempotency?
-- answers: {'queued', ids, ahead} | {'repeated', ids, answer, ahead} | {'staged', name of the list, ahead} | {'conflict'}
--   | {'full'} | {'late'}
-- changes: queue, high, deferred, deferred_messages, status, staged, idempotency, intake, events, counters
--
-- Ids are joined by commas. A status comes for each message that is `scheduled`. A long `list` is kept whole (`staged`),
-- to be queued in parts by append_part. `ahead`: how many messages were in line before them.

-- Lost on its way, repeated and answered long ago, and here at last: nobody waits for it.
local function is_late(request)
  local last = redis.call('HGET', INTAKE, 'group')
  return last and (tonumber(last) or 0) > tonumber(request.group)
end

-- The place in the intake record that says to a repetition what this very request did.
-- What the group before this one did is known by now, so its record makes room for this one's.
local function place_of(request)
  if redis.call('HGET', INTAKE, 'group') ~= request.group then
    redis.call('HSET', INTAKE, 'group', request.group) -- refused while Redis is full: after a DEL it would not be
    redis.call('DEL', INTAKE)
    redis.call('HSET', INTAKE, 'group', request.group)
    redis.call('PEXPIRE', INTAKE, 3600000)
  end
  return redis.call('HGET', INTAKE, request.place)
end

-- Messages that wait, and those of them that are in line before a new one. What cannot be counted is no reason to take
-- none of the rest. `staged`: the lists that are kept; their messages wait too, and only another list has to know.
local function waiting(request, staged)
  local kept = staged and redis.pcall('HGET', staged, 'waiting')
  local sum, ahead = type(kept) == 'string' and tonumber(kept) or 0, 0
  local normal = request.stream == 'n'
  for _, place in ipairs({{'XLEN', QUEUE, normal}, {'XLEN', HIGH, true}, {'ZCARD', DEFERRED, false}}) do
    local found = redis.pcall(place[1], place[2])
    if type(found) == 'number' then
      sum = sum + found
      if place[3] and not request.due then ahead = ahead + found end
    end
  end
  return sum, ahead
end

local function need_all(request, key)
  need_places(request)
  if key then need_hash(key) end
  if not sound[INTAKE] and wrong_type(INTAKE, KIND[INTAKE]) then redis.call('DEL', INTAKE) end
  sound[INTAKE] = true
end

local function stage(request, staged, key, ahead)
  need_hash(staged)
  local fields = {request.list, request.head}
  for i, part in ipairs(request.parts) do append_all(fields, {request.list .. ':' .. i, part}) end
  redis.call('HSET', staged, unpack(fields))
  redis.pcall('HINCRBY', staged, 'waiting', request.many)
  if key then
    redis.call('HSET', key, 'fingerprint', request.fingerprint, 'list', request.list, 'answer', request.answer,
      'ahead', ahead)
    redis.call('PEXPIRE', key, request.key_ttl)
  end
  redis.call('HSET', INTAKE, request.place, request.list)
  return {'staged', request.list, ahead}
end

-- What an earlier request with this key came to, or nil.
local function first_of(key, request)
  local fields = {'fingerprint', 'ids', 'answer', 'list', 'ahead'}
  local fingerprint, ids, answer, list, ahead = unpack(redis.call('HMGET', key, unpack(fields)))
  if not fingerprint then return nil end
  if fingerprint ~= request.fingerprint then return {'conflict'} end
  ahead = tonumber(ahead or 0)
  return ids and {'repeated', ids, answer, ahead} or {'staged', list or '', ahead}
end

local function run(request, keys)
  local key = request.key_ttl and keys[#keys]
  need_all(request, key)
  if is_late(request) then return {'late'} end
  local done = place_of(request)
  if done then return {request.list and 'staged' or 'queued', done, 0} end
  local first = key and first_of(key, request)
  if first then return first end
  local sum, ahead = waiting(request, request.list and keys[1])
  if sum + request.many > request.most_waiting then return {'full'} end
  if request.list then return stage(request, keys[1], key, ahead) end

  local ids = enqueue(request, keys)
  redis.call('HSET', INTAKE, request.place, ids)
  if key then
    redis.call('HSET', key, 'fingerprint', request.fingerprint, 'ids', ids, 'answer', request.answer, 'ahead', ahead)
    redis.call('PEXPIRE', key, request.key_ttl)
  end
  return {'queued', ids, ahead}
end
