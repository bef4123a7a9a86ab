-- append: queue the texts of one request, all or none, with its idempotency record.
-- Keys: status of each scheduled text, then the idempotency record if there is a key.
-- Returns {'queued', ids} {'repeated', ids, answer} {'conflict'} {'full'} {'late'}; ids joined by commas.
local function take_back(stream, entries)
  for _, entry in ipairs(entries) do
    redis.call('XDEL', stream, entry)
    count('adjusted') -- its stream goes on counting it as added
  end
end

local function queue_now(request)
  local ids, entries, high = {}, {}, request.lane == 'h'
  for i, recipient in ipairs(request.recipients) do
    local added, entry = pcall(add, high and HIGH or QUEUE, append_all({'to', recipient}, request.fields))
    if not added then
      take_back(high and HIGH or QUEUE, entries)
      error(failure(entry)) -- some servers' `pcall` makes words of it
    end
    entries[i], ids[i] = entry, high and 'h' .. entry or entry
  end
  for _, id in ipairs(ids) do announce(id, 'queued', '') end
  return ids
end

local function schedule(request, keys)
  for i, recipient in ipairs(request.recipients) do
    local id, status = request.scheduled[i], keys[i]
    redis.call('ZADD', DEFERRED, request.due, id)
    redis.call('HSET', MESSAGES, id, cjson.encode(append_all({'id', id, 'to', recipient}, request.fields)))
    count('scheduled')
    local facts = append_all({'due', request.due, 'to', recipient}, request.facts)
    tell(status, id, 'deferred', NOW .. ' deferred scheduled', 'scheduled', facts)
  end
  return request.scheduled
end

-- Lost on its way, repeated and answered long ago, and here at last: nobody waits for it.
local function is_late(request)
  local last = redis.call('HGET', INTAKE, 'group')
  return last and (tonumber(last) or 0) > tonumber(request.group)
end

-- The place in the intake record that tells a repetition what this very request did.
-- What the group before this one did is known by now, so its record makes room for this one's.
local function place_of(request)
  if redis.call('HGET', INTAKE, 'group') ~= request.group then
    redis.call('HSET', INTAKE, 'group', request.group) -- refused while Redis is full, before a DEL opens the door
    redis.call('DEL', INTAKE)
    redis.call('HSET', INTAKE, 'group', request.group)
    redis.call('PEXPIRE', INTAKE, 3600000)
  end
  return redis.call('HGET', INTAKE, request.place)
end

-- Texts that wait. What cannot be counted is no reason to take none of the rest.
local function waiting()
  local sum = 0
  for _, place in ipairs({{'XLEN', QUEUE}, {'XLEN', HIGH}, {'ZCARD', DEFERRED}}) do
    local found = redis.pcall(unpack(place))
    if type(found) == 'number' then sum = sum + found end
  end
  return sum
end

local function need_all(request, key)
  if request.due then need(DEFERRED, MESSAGES) else need(request.lane == 'h' and HIGH or QUEUE) end
  if key then need_hash(key) end
  if not sound[INTAKE] and wrong_type(INTAKE, KIND[INTAKE]) then redis.call('DEL', INTAKE) end
  sound[INTAKE] = true
end

local function run(request, keys)
  local key = request.key_ttl and keys[#keys]
  need_all(request, key)
  if is_late(request) then return {'late'} end
  local done = place_of(request)
  if done then return {'queued', done} end
  if key then
    local first = redis.call('HMGET', key, 'fingerprint', 'ids', 'answer')
    if first[1] == request.fingerprint then return {'repeated', first[2], first[3]} end
    if first[1] then return {'conflict'} end
  end
  if waiting() + #request.recipients > request.most_waiting then return {'full'} end

  local ids = table.concat(request.due and schedule(request, keys) or queue_now(request), ',')
  redis.call('HSET', INTAKE, request.place, ids)
  if key then
    redis.call('HSET', key, 'fingerprint', request.fingerprint, 'ids', ids, 'answer', request.answer)
    redis.call('PEXPIRE', key, request.key_ttl)
  end
  return {'queued', ids}
end
