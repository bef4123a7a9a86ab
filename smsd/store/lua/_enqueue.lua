-- _enqueue: queue the messages of one list, all or none.
-- include: add, counters, damage, events, fields, history

local function home_of(request) return request.stream == 'h' and HIGH or QUEUE end

local function take_back(stream, entries)
  for _, entry in ipairs(entries) do
    redis.call('XDEL', stream, entry)
    count('adjusted') -- its stream goes on counting it as added
  end
end

local function queue_now(request)
  local ids, entries, stream = {}, {}, home_of(request)
  for i, recipient in ipairs(request.recipients) do
    local added, entry = pcall(add, stream, append_all({'to', recipient}, request.fields))
    if not added then
      take_back(stream, entries)
      error(failure(entry)) -- some servers' `pcall` makes words of it
    end
    entries[i], ids[i] = entry, stream == HIGH and 'h' .. entry or entry
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
    local shown = append_all({'due', request.due, 'to', recipient}, request.look_up)
    write_status(status, id, 'deferred', NOW .. ' deferred scheduled', 'scheduled', shown)
  end
  return request.scheduled
end

-- Queue what `request` says; ids joined by commas. Keys: status of each scheduled message.
local function enqueue(request, keys)
  return table.concat(request.due and schedule(request, keys) or queue_now(request), ',')
end

local function need_places(request)
  if request.due then need(DEFERRED, MESSAGES) else need(home_of(request)) end
end

