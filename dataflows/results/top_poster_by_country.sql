-- top_poster_by_country: posters of each country, those with the most followers first
SELECT country,        -- country the posts came from
       poster_name,    -- who posted
       follower_count, -- greatest number of followers seen on the poster's posts there
       rank            -- place in the group; equal values share a place
FROM (
  SELECT *,
         rank() OVER (PARTITION BY country ORDER BY follower_count DESC) AS rank,
         row_number() OVER (PARTITION BY country ORDER BY follower_count DESC, poster_name COLLATE "C") AS place
  FROM (
    SELECT geo.country, pin.poster_name, max(pin.follower_count) AS follower_count
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind)
    WHERE geo.country IS NOT NULL AND pin.poster_name IS NOT NULL AND pin.follower_count IS NOT NULL
    GROUP BY geo.country, pin.poster_name
  ) AS posters
) AS ranked
WHERE {top} = 0 OR place <= {top} OR rank = 1
