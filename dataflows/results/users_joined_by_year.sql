-- users_joined_by_year: users who joined in each year
SELECT EXTRACT(YEAR FROM date_joined)::integer AS join_year,                 -- UTC year in which the users joined
       count(DISTINCT (user_name, age, date_joined)) AS number_users_joined, -- distinct users: name, age and time of joining
       count(*) AS user_records                                              -- user records, one for each post
FROM user_table
WHERE date_joined IS NOT NULL
GROUP BY 1
