-- fsck_entries: entries of a stream that were delivered and are not pending: nobody will ever send them.
-- include: damage, entries, fields, last_ids
-- takes: stream, after, through, count, repair
-- keys: none
-- answers: {where to go on, '' at the end; their names; through}
-- changes: queue, high
--
-- Looks from `after` up to `through`, which is '' at first: what was delivered last.
-- Mended: the group goes back to before the first of them, so that all are delivered again; those that are pending have
-- an owner who knows them, or an in-flight record.

local function last_delivered(stream)
  if redis.call('EXISTS', stream) == 0 then return nil end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if field_of(group, 'name') == GROUP then return field_of(group, 'last-delivered-id') end
  end
end

local function go_back_before(stream, id)
  if redis.call('XRANGE', stream, id, last_delivered(stream), 'COUNT', 1)[1] then
    local before = redis.call('XREVRANGE', stream, '(' .. id, '-', 'COUNT', 1)[1]
    redis.call('XGROUP', 'SETID', stream, GROUP, before and before[1] or '0-0')
  end
end

local function run(request)
  local stream = stream_of(request.stream)
  need(stream)
  local last = request.through ~= '' and request.through or last_delivered(stream)
  if not last then return {'', {}, ''} end
  local from = request.after == '' and '-' or '(' .. request.after
  local page, orphans = redis.call('XRANGE', stream, from, last, 'COUNT', request.count), {}
  for _, entry in ipairs(page) do
    if #redis.call('XPENDING', stream, GROUP, entry[1], entry[1], 1) == 0 then
      orphans[#orphans + 1] = request.stream .. entry[1]
    end
  end
  if request.repair and orphans[1] then go_back_before(stream, string.sub(orphans[1], 2)) end
  local more = #page == request.count and page[#page][1] ~= LAST_ID
  return {more and page[#page][1] or '', orphans, last}
end
