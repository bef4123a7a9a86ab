-- fsck_entries: entries of a stream that were delivered and are not pending: nobody will ever send them.
-- Returns {where to go on, '' at the end; their names}. Mended: pending again, so that recovery takes them in.
local function last_delivered(stream)
  if redis.call('EXISTS', stream) == 0 then return nil end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if field_of(group, 'name') == GROUP then return field_of(group, 'last-delivered-id') end
  end
end

local function run(request)
  local stream = stream_of(request.lane)
  local last = last_delivered(stream)
  if not last then return {'', {}} end
  local from = request.after == '' and '-' or '(' .. request.after
  local page, orphans = redis.call('XRANGE', stream, from, last, 'COUNT', request.count), {}
  for _, entry in ipairs(page) do
    local id = entry[1]
    if #redis.call('XPENDING', stream, GROUP, id, id, 1) == 0 then
      orphans[#orphans + 1] = request.lane .. id
      if request.repair then redis.call('XCLAIM', stream, GROUP, CONSUMER, 0, id, 'FORCE', 'JUSTID') end
    end
  end
  return {#page == request.count and page[#page][1] or '', orphans}
end
