-- country_of_top_poster: the poster or posters with the most followers of all, and their country
SELECT country,       -- country the posts came from
       poster_name,   -- who posted
       follower_count -- greatest number of followers seen on the poster's posts there
FROM (
  -- only those who lead their own country can lead all, and their rows are kept whatever is cut off
  SELECT *, rank() OVER (ORDER BY follower_count DESC) AS place
  FROM top_poster_by_country
  WHERE rank = 1
) AS leaders
WHERE place = 1
