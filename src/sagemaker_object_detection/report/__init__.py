"""What a person looks at after a job: figures, charts, pictures with boxes, and the page that shows them."""
